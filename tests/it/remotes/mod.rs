//! Stores elsewhere: the servers that the tests push to.

mod damage;
mod faults;
mod servers;
