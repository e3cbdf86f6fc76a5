//! Random sequences of operations against a plain in-memory history.

mod history;
