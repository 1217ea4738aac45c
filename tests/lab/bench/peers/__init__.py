"""The peers: one program each, written the way its own documentation recommends, doing the nearest to classpulse's job."""
