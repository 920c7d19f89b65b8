"""Write down what happened: ledger, status files, history."""
