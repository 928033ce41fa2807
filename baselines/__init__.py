"""What CLSO is compared with, under the same meter."""
