"""What a new user does with the README alone, one script a goal; `test_newcomer.py` runs them."""
