"""A regression test of accuracy in CI. The reference is test_accuracy/*.toml, kept in git."""

from training import train


def test_train(accuracy_regression):
    accuracy_regression.check(train)
