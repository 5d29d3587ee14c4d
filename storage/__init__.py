"""What is kept: tables, state machines, instance files and the outbox."""
