"""One line in CI: has the accuracy of `train` moved? Reference: test_accuracy/*.toml, in git."""

from training import train


def test_train(accuracy_regression):
    accuracy_regression.check(train)
