"""Streams to many clients over one server process a transport: servers, clients, and what is measured."""
