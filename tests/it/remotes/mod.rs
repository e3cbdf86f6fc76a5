//! Stores elsewhere: the servers that the tests push to.

mod changed;
mod damage;
mod faults;
mod servers;
