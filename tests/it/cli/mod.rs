//! What a user types and sees: a file per verb.

mod tour;
