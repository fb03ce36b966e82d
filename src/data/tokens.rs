//! Segments of text: a text divided among sequences that are read side by side, some tokens at a time.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::check::check_tokens;
use super::{Batch, Role, Source};
use crate::error::{Error, Result};
use crate::random;

/// How often a training segment is half as long, so that segments do not always end at the same words.
const HALVED: f64 = 0.05;

/// How a text is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Sequences side by side.
    pub batch: usize,
    /// Tokens of a segment.
    pub bptt: usize,
    /// Of the lengths of training segments.
    pub seed: u64,
    /// What the segments are for.
    pub role: Role,
}

/// Batches [tokens, batch] of a text, each with the tokens one further on as its targets.
#[derive(Debug)]
pub struct TokenSource {
    /// [tokens, batch].
    columns: Tensor,
    reading: Reading,
    segments: Vec<Range<i64>>,
    next: usize,
}

impl TokenSource {
    /// Of the tokens of a text, [N], whole numbers below `words`; the last few that do not fill all sequences are left
    /// out. `what` names the text in errors.
    pub fn new(tokens: &Tensor, words: i64, reading: Reading, device: Device, what: &str) -> Result<Self> {
        let size = tokens.size();
        let [count] = size[..] else {
            return Err(Error::data(format!("{what} has shape {size:?}; a text is one row of tokens, [N]")));
        };
        check_tokens(tokens, words, what)?;
        let batch = reading.batch as i64;
        let length = count / batch;
        let least = if reading.role == Role::Evaluation { 2 } else { reading.bptt as i64 + 1 };
        if length < least {
            return Err(Error::data(format!(
                "{what} has {count} tokens, {length} for each of {batch} sequences; a segment and the token after it \
                 are {least}. Give more text, or lower batch_size or bptt"
            )));
        }
        let columns = tokens.f_narrow(0, 0, length * batch)?.f_view([batch, length])?.f_transpose(0, 1)?;
        let columns = columns.f_to_kind(Kind::Int64)?.f_contiguous()?.f_to_device(device)?;
        let segments = segments(length, &reading, 0);
        Ok(TokenSource { columns, reading, segments, next: 0 })
    }
}

/// The segments of a pass over sequences of `length` tokens.
fn segments(length: i64, reading: &Reading, pass: u64) -> Vec<Range<i64>> {
    let full = reading.bptt as i64;
    let half = (full / 2).max(1);
    // The last token is only a target.
    let end = length - 1;
    let train = reading.role == Role::Train;
    let most = if train { (end / half + 1) as usize } else { 0 };
    let mut draws = random::uniform(reading.seed, "segments", pass, most, 0.0, 1.0).into_iter();
    let (mut segments, mut begin) = (Vec::new(), 0);
    while begin < end {
        let halved = draws.next().is_some_and(|draw| draw < HALVED);
        let segment = begin..(begin + if halved { half } else { full }).min(end);
        begin = segment.end;
        segments.push(segment);
    }
    segments
}

impl Source for TokenSource {
    fn batches(&self) -> Option<usize> {
        Some(self.segments.len())
    }

    fn start(&mut self, index: u64, skip: usize) -> Result<()> {
        self.segments = segments(self.columns.size()[0], &self.reading, index);
        self.next = skip;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Batch>> {
        let Some(segment) = self.segments.get(self.next) else { return Ok(None) };
        let length = segment.end - segment.start;
        let from = |begin: i64| self.columns.f_narrow(0, begin, length);
        let batch = Batch {
            begins: self.next == 0,
            // A shorter segment is a smaller step.
            pace: length as f64 / self.reading.bptt as f64,
            ..Batch::new(from(segment.start)?, from(segment.start + 1)?)
        };
        self.next += 1;
        Ok(Some(batch))
    }
}
