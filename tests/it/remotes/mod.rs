//! Stores elsewhere: the servers that the tests push to.

mod faults;
mod servers;
