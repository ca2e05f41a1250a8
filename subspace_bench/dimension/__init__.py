"""How many parameters a model needs: the intrinsic dimension of anyone's model and data."""
