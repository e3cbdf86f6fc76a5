//! The properties of a file system that programs rely on, with one test for each.

mod access;
mod bytes;
mod holes;
mod links;
mod lists;
mod locks;
mod metadata;
mod names;
mod space;
