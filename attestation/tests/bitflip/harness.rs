//! Flips the bits and counts what comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::Range;
use std::time::Instant;

use crate::seen::{Seen, Weaker};

/// Bits of a part that are flipped in a run that is not full, beside those of heads and regions.
const SAMPLE: usize = 90;
/// Bits of a region of a part that are flipped in such a run.
const REGION_SAMPLE: usize = 12;

/// What a verifier says of changed bytes.
pub enum Verdict {
    /// Its code.
    Refused(&'static str),
    /// What it claims then.
    Accepted(Seen),
}

impl<E> From<Result<Seen, E>> for Verdict
where
    E: Code,
{
    fn from(result: Result<Seen, E>) -> Self {
        result.map_or_else(|e| Self::Refused(e.stable()), Self::Accepted)
    }
}

/// An error with a stable code.
pub trait Code {
    fn stable(&self) -> &'static str;
}

/// What a verifier says of this part, everything beside it being as it was.
pub type Judge<'a> = Box<dyn Fn(&[u8]) -> Verdict + 'a>;

/// One input of an accepted case.
pub struct Part<'a> {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// So many bytes at the start are flipped in every run, one bit each.
    pub head: usize,
    pub judge: Judge<'a>,
}

/// The part of `good` that `get` gives, judged within it.
pub fn bytes_of<'a, E: Clone>(
    name: &'static str,
    good: &'a E,
    get: impl Fn(&mut E) -> &mut Vec<u8> + 'a,
    judge: impl Fn(E) -> Verdict + 'a,
) -> Part<'a> {
    let bytes = get(&mut good.clone()).clone();
    let judge = move |changed: &[u8]| {
        let mut evidence = good.clone();
        *get(&mut evidence) = changed.to_vec();
        judge(evidence)
    };
    Part {
        name,
        bytes,
        head: 0,
        judge: Box::new(judge),
    }
}

/// The same for text: what is no text is no JSON string and never gets to the verifier.
pub fn text_of<'a, E: Clone>(
    name: &'static str,
    good: &'a E,
    get: impl Fn(&mut E) -> &mut String + 'a,
    judge: impl Fn(E) -> Verdict + 'a,
) -> Part<'a> {
    let bytes = get(&mut good.clone()).clone().into_bytes();
    let judge = move |changed: &[u8]| {
        let Ok(text) = String::from_utf8(changed.to_vec()) else {
            return Verdict::Refused("no text");
        };
        let mut evidence = good.clone();
        *get(&mut evidence) = text;
        judge(evidence)
    };
    Part {
        name,
        bytes,
        head: 0,
        judge: Box::new(judge),
    }
}

impl Part<'_> {
    pub fn with_head(mut self, bytes: usize) -> Self {
        self.head = bytes;
        self
    }
}

/// Where evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Vectors that are not part of this repository.
    Real,
    Simulator,
}

/// Bytes, and which of their bits.
pub type Bits = (Range<usize>, u8);

/// Where a flip may be accepted, and why.
pub struct Region {
    /// Name of the parts that may have it.
    pub part: &'static str,
    pub reason: &'static str,
    /// Fewer claims may come of it. Without this, exactly the same.
    pub weaker: bool,
    /// `None`: both have it.
    pub only: Option<Origin>,
    pub find: fn(&[u8]) -> Vec<Bits>,
}

/// One family of evidence.
pub struct Harness {
    family: &'static str,
    regions: &'static [Region],
    used: Vec<usize>,
    full: bool,
    started: Instant,
    origin: Origin,
    flips: usize,
    excused: usize,
    wrong: Vec<String>,
}

impl Harness {
    pub fn new(family: &'static str, origin: Origin, regions: &'static [Region]) -> Self {
        Self {
            family,
            regions,
            used: vec![0; regions.len()],
            full: std::env::var("HANZO_BITFLIP").is_ok_and(|v| v == "all"),
            started: Instant::now(),
            origin,
            flips: 0,
            excused: 0,
            wrong: Vec::new(),
        }
    }

    /// Flips the bits of one part.
    pub fn flip(&mut self, vector: &str, part: &Part<'_>) {
        let started = Instant::now();
        let good = match (part.judge)(&part.bytes) {
            Verdict::Accepted(seen) => seen,
            Verdict::Refused(code) => panic!("{vector}: {}: refused unchanged: {code}", part.name),
        };
        let regions: Vec<(usize, Vec<Bits>)> = (0..)
            .zip(self.regions)
            .filter(|(_, region)| region.part == part.name)
            .map(|(number, region)| (number, (region.find)(&part.bytes)))
            .collect();
        let mut changed = part.bytes.clone();
        let mut wrong = BTreeMap::<(String, u8), BTreeSet<usize>>::new();
        let (mut flips, mut excused) = (0, 0);
        for (at, bit) in self.choose(part, &regions) {
            let mask = 1 << bit;
            changed[at] ^= mask;
            let verdict = (part.judge)(&changed);
            changed[at] ^= mask;
            flips += 1;
            let Verdict::Accepted(seen) = verdict else { continue };
            let weaker = match seen.compared_with(&good) {
                Weaker::Same => false,
                Weaker::Fewer => true,
                Weaker::Other(what) => {
                    wrong
                        .entry((format!("OTHER CLAIMS {what}"), mask))
                        .or_default()
                        .insert(at);
                    continue;
                }
            };
            let listed = regions.iter().find(|(number, bits)| {
                let lies_in = bits.iter().any(|(bytes, bits)| bytes.contains(&at) && bits & mask != 0);
                lies_in && (self.regions[*number].weaker || !weaker)
            });
            if let Some((number, _)) = listed {
                self.used[*number] += 1;
                excused += 1;
            } else {
                let what = if weaker { "fewer claims" } else { "the same claims" };
                wrong.entry((what.to_owned(), mask)).or_default().insert(at);
            }
        }
        self.flips += flips;
        self.excused += excused;
        for ((what, mask), places) in wrong {
            let places = ranges(&places);
            self.wrong.push(format!(
                "{vector}: {}: bit {mask:#04x} of bytes {places}: {what}",
                part.name
            ));
        }
        if self.full {
            let _ = writeln!(
                std::io::stderr(),
                "{}: {vector}: {}: {} bytes: {flips} flips, {} refused, {excused} in listed regions, {:.1} s",
                self.family,
                part.name,
                part.bytes.len(),
                flips - excused,
                started.elapsed().as_secs_f32(),
            );
        }
    }

    /// Byte and bit of each flip.
    fn choose(&self, part: &Part<'_>, regions: &[(usize, Vec<Bits>)]) -> BTreeSet<(usize, u8)> {
        let all = part.bytes.len() * 8;
        if self.full {
            return (0..all).map(|i| (i / 8, (i % 8) as u8)).collect();
        }
        // An odd step meets all eight bits.
        let step = (all / SAMPLE) | 1;
        let spread = (0..all).step_by(step).map(|i| (i / 8, (i % 8) as u8));
        let head = (0..part.head.min(part.bytes.len())).map(|at| (at, (at * 5 % 8) as u8));
        let mut chosen: BTreeSet<_> = spread.chain(head).collect();
        for (_, bits) in regions {
            let bytes: usize = bits.iter().map(|(range, _)| range.len()).sum();
            let places = bits
                .iter()
                .flat_map(|(range, mask)| range.clone().map(move |at| (at, *mask)));
            for (number, (at, mask)) in places.step_by((bytes / REGION_SAMPLE).max(1)).enumerate() {
                let bits: Vec<u8> = (0..8).filter(|bit| mask & 1 << bit != 0).collect();
                chosen.insert((at, bits[number * 5 % bits.len()]));
            }
        }
        chosen
    }

    /// Everything that was wrong, at once.
    pub fn finish(self) {
        let _ = writeln!(
            std::io::stderr(),
            "{}, {:?}: {} flips, {} refused, {} in listed regions, {:.1} s",
            self.family,
            self.origin,
            self.flips,
            self.flips - self.excused,
            self.excused,
            self.started.elapsed().as_secs_f32(),
        );
        let mut wrong = self.wrong;
        for (region, used) in self.regions.iter().zip(&self.used) {
            if *used == 0 && region.only.is_none_or(|only| only == self.origin) {
                wrong.push(format!("listed and not needed: {}: {}", region.part, region.reason));
            }
        }
        assert!(
            wrong.is_empty(),
            "{}, {:?}:\n{}",
            self.family,
            self.origin,
            wrong.join("\n")
        );
    }
}

/// `1-4 7 9-12`, the first twenty.
fn ranges(places: &BTreeSet<usize>) -> String {
    let mut out: Vec<(usize, usize)> = Vec::new();
    for at in places {
        match out.last_mut() {
            Some((_, last)) if *last + 1 == *at => *last = *at,
            _ => out.push((*at, *at)),
        }
    }
    let shown = out.iter().take(20).map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let more = if out.len() > 20 { " ..." } else { "" };
    shown.collect::<Vec<_>>().join(" ") + more
}
