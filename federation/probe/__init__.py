"""What is asked and what is answered: request, sealed envelope, answer, receipts, delivery states."""
