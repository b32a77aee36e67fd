//! Primitive values as bytes: little-endian integers, variable-length integers and
//! length-prefixed byte strings.
//!
//! Invariants: a [`Reader`] never panics, never reads outside its slice, and never announces more
//! elements than the bytes that are left could hold, so that decoding allocates in proportion to
//! its input.

use std::fmt;

use crate::Digest;

/// Why bytes are not a sequence of primitive values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The bytes end within a value.
    Truncated,
    /// A variable-length integer is longer than its value needs, or than 64 bits.
    Overlong,
    /// A length or a count exceeds its limit, or what is left.
    Limit,
    /// Bytes are left behind the last value.
    Trailing,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the bytes end within a value",
            Self::Overlong => "an integer is encoded longer than it needs to be",
            Self::Limit => "a length exceeds its limit",
            Self::Trailing => "bytes are left behind the last value",
        })
    }
}

impl std::error::Error for WireError {}

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// Seven bits a byte, least significant first, the high bit set on all but the last.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    /// A signed integer as a variable-length one: 0, -1, 1, -2 … become 0, 1, 2, 3 …
    pub fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A count or length as a variable-length integer.
    pub fn count(&mut self, count: usize) {
        self.varint(count as u64);
    }

    /// A length-prefixed byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    pub fn digest(&mut self, digest: &Digest) {
        self.raw(&digest.0);
    }

    /// Bytes as they are; the reader has to know how many.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes values off the front of a slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        // Most are lengths and counts below 128.
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Overlong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let minimal = byte != 0 || shift == 0;
                return if minimal { Ok(value) } else { Err(WireError::Overlong) };
            }
        }
        Err(WireError::Overlong)
    }

    pub fn signed(&mut self) -> Result<i64, WireError> {
        let folded = self.varint()?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    #[inline]
    pub fn varint_u32(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.varint()?).map_err(|_| WireError::Limit)
    }

    /// A count of elements, each of which takes at least `element_bytes_min` bytes of what is left.
    pub fn count(&mut self, max: usize, element_bytes_min: usize) -> Result<usize, WireError> {
        let count = usize::try_from(self.varint()?).map_err(|_| WireError::Limit)?;
        let fits = self.remaining() / element_bytes_min.max(1);
        if count > max || count > fits {
            return Err(WireError::Limit);
        }
        Ok(count)
    }

    /// A length-prefixed byte string of at most `max` bytes.
    #[inline]
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.varint()?).map_err(|_| WireError::Limit)?;
        if length > max {
            return Err(WireError::Limit);
        }
        self.raw(length)
    }

    pub fn digest(&mut self) -> Result<Digest, WireError> {
        Ok(Digest(self.array()?))
    }

    /// Succeeds when nothing is left.
    pub fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }
}
