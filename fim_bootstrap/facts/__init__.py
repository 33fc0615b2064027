"""What is: everything that is looked at before anything is judged."""
