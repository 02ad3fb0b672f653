//! The little of SCALE that is needed: compact lengths and byte strings.

pub(super) struct Scale<'a>(&'a [u8]);

impl<'a> Scale<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    /// A compact length of at most `most`. The shortest form is the only one accepted.
    pub(super) fn length(&mut self, most: usize) -> Option<usize> {
        let first = *self.0.first()?;
        let (width, least) = match first & 3 {
            0 => (1, 0),
            1 => (2, 1 << 6),
            2 => (4, 1 << 14),
            _ => return None,
        };
        let mut raw = [0; 4];
        for (to, from) in raw.iter_mut().zip(self.take(width)?) {
            *to = *from;
        }
        let length = u32::from_le_bytes(raw) >> 2;
        let length = (length >= least).then_some(length)?;
        usize::try_from(length).ok().filter(|length| *length <= most)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length(self.0.len())?;
        self.take(length)
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}
