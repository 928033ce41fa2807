"""Surrogates that screen candidates: factories of scikit-learn regressors, found through entry
points.

A surrogate is `make(random_state) -> estimator`. It sees the features of
`clso.screening.screener.Encoder` (one-hot alleles and descriptors standardised over the alleles) in
order of observation, and only the ranking of its predictions is used."""
