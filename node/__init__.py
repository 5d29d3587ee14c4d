"""The process: sockets, worker, delivery, scheduler and command line."""
