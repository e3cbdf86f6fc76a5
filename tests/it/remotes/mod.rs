//! Stores elsewhere: the servers that the tests push to.

mod servers;
