"""What runs on machines: gate, keeper and job runner. Standard library only; shipped as one zipapp."""
