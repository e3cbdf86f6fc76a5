//! A name in a directory.

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName {
    /// Inode number of the directory.
    pub parent: u64,
    pub name: Vec<u8>,
}

/// A borrowed [`EntryName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'n> {
    /// Inode number of the directory.
    pub parent: u64,
    pub name: &'n [u8],
}

impl EntryName {
    /// Borrows the name.
    pub fn as_ref(&self) -> EntryRef<'_> {
        EntryRef {
            parent: self.parent,
            name: &self.name,
        }
    }
}

impl<'n> EntryRef<'n> {
    /// Returns a name in a directory.
    pub fn new(parent: u64, name: &'n [u8]) -> Self {
        Self { parent, name }
    }

    /// Copies the name.
    pub fn to_owned(self) -> EntryName {
        EntryName {
            parent: self.parent,
            name: self.name.to_vec(),
        }
    }
}
