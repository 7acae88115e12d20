"""A rehearsal of every flow on made-up data: the real code over real HTTP, with stand-ins for the far side."""
