//! What dvc asks of the operating system, below everything else.

pub mod create;
