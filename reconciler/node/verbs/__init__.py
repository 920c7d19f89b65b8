"""What the gate can be asked to do; one module per verb."""
