//! What programs rely on in a file system, each item once.

mod access;
mod bytes;
mod links;
mod lists;
mod locks;
mod metadata;
mod names;
mod space;
