//! Sets of small numbers, and tables that are indexed by such numbers.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Index, IndexMut, Sub, SubAssign};

/// A set of numbers below 16: chunks, packs, segments, versions or logs.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(u16);

impl Set {
    pub const EMPTY: Self = Self(0);

    /// Returns the set with one member.
    pub const fn one(member: u8) -> Self {
        Self(1 << member)
    }

    /// Returns the set of these members.
    pub const fn of<const N: usize>(members: [u8; N]) -> Self {
        let mut bits = 0;
        let mut n = 0;
        while n < N {
            bits |= 1 << members[n];
            n += 1;
        }
        Self(bits)
    }

    /// Returns the set of all numbers below `end`.
    pub const fn below(end: u8) -> Self {
        Self((1 << end) - 1)
    }

    pub const fn has(self, member: u8) -> bool {
        self.0 >> member & 1 == 1
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether the two sets have a common member.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Returns the smallest member.
    pub fn first(self) -> Option<u8> {
        self.iter().next()
    }

    /// Returns the members in ascending order.
    pub const fn iter(self) -> Members {
        Members(self)
    }

    /// Returns the members for which `keep` returns true.
    pub fn filter(self, keep: impl Fn(u8) -> bool) -> Self {
        self.iter().filter(|member| keep(*member)).collect()
    }

    /// Returns the union of the sets of all members.
    pub fn union_of(self, set_of: impl Fn(u8) -> Self) -> Self {
        self.iter()
            .fold(Self::EMPTY, |all, member| all | set_of(member))
    }

    /// Returns the members as text, with `letter` before each.
    pub fn named(self, letter: char) -> String {
        let members: Vec<String> = self
            .iter()
            .map(|member| format!("{letter}{member}"))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// Returns the set whose members are the set bits. The values of the trash log have this form.
    pub fn from_byte(bits: u8) -> Self {
        Self(u16::from(bits))
    }

    /// Returns the members below 8 as bits.
    pub const fn to_byte(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
}

/// The members of a set in ascending order.
pub struct Members(Set);

impl Iterator for Members {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let bits = self.0.0;
        let [first, ..] = bits.trailing_zeros().to_le_bytes();
        self.0.0 = bits & bits.wrapping_sub(1);
        (bits != 0).then_some(first)
    }
}

impl FromIterator<u8> for Set {
    fn from_iter<I: IntoIterator<Item = u8>>(members: I) -> Self {
        members
            .into_iter()
            .fold(Self::EMPTY, |all, member| all | Self::one(member))
    }
}

impl BitOr for Set {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Set {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Set {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOrAssign for Set {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl SubAssign for Set {
    fn sub_assign(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// An array whose index is a small number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Table<T, const N: usize>(pub [T; N]);

impl<T: Copy + Default, const N: usize> Default for Table<T, N> {
    fn default() -> Self {
        Self([T::default(); N])
    }
}

impl<T, const N: usize> Index<u8> for Table<T, N> {
    type Output = T;

    fn index(&self, n: u8) -> &T {
        &self.0[usize::from(n)]
    }
}

impl<T, const N: usize> IndexMut<u8> for Table<T, N> {
    fn index_mut(&mut self, n: u8) -> &mut T {
        &mut self.0[usize::from(n)]
    }
}
