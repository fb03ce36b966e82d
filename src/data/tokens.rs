//! Segments of text: the text is divided into sequences that are read in parallel, some tokens at a time.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::expect::check_tokens;
use super::{Batch, Role, Source};
use crate::error::{Error, Result};
use crate::random;
use crate::ranks::Share;

/// The share of training segments that have half the length, so that segments do not always end at the same words.
const HALVED: f64 = 0.05;

/// How a text is cut into segments.
#[derive(Debug, Clone, Copy)]
pub struct Segments {
    /// Sequences that are read in parallel.
    pub batch: usize,
    /// Tokens per segment.
    pub bptt: usize,
    /// Seeds the lengths of training segments.
    pub seed: u64,
    /// What the segments are used for.
    pub role: Role,
    /// The share of the sequences.
    pub share: Share,
}

/// Batches [tokens, batch] of a text. The targets are the next tokens.
#[derive(Debug)]
pub struct TokenSource {
    /// [tokens, batch].
    columns: Tensor,
    cut: Segments,
    segments: Vec<Range<i64>>,
    next: usize,
}

impl TokenSource {
    /// Batches of the tokens [N] of a text, integers below `words`. The last few tokens, which do not fill all
    /// sequences, are left out. `what` names the text in errors.
    pub fn new(tokens: &Tensor, words: i64, cut: Segments, device: Device, what: &str) -> Result<Self> {
        let size = tokens.size();
        let [count] = size[..] else {
            return Err(Error::data(format!("{what} has shape {size:?}; a text is one row of tokens, [N]")));
        };
        check_tokens(tokens, words, what)?;
        let batch = cut.batch as i64;
        let length = count / batch;
        let least = if cut.role == Role::Evaluation { 2 } else { cut.bptt as i64 + 1 };
        if length < least {
            return Err(Error::data(format!(
                "{what} has {count} tokens, {length} for each of {batch} sequences; at least {least} \
                 are needed. Give more text, or lower batch_size or bptt"
            )));
        }
        let columns = tokens.f_narrow(0, 0, length * batch)?.f_view([batch, length])?.f_transpose(0, 1)?;
        let (first, width) = cut.share.range(batch);
        let columns = columns.f_narrow(1, first, width)?.f_to_kind(Kind::Int64)?.f_contiguous()?.f_to_device(device)?;
        let segments = segments(length, &cut, 0);
        Ok(TokenSource { columns, cut, segments, next: 0 })
    }
}

/// The segments of a pass over sequences of `length` tokens.
fn segments(length: i64, cut: &Segments, pass: u64) -> Vec<Range<i64>> {
    let full = cut.bptt as i64;
    let half = (full / 2).max(1);
    // The last token is only a target.
    let end = length - 1;
    let train = cut.role == Role::Train;
    let most = if train { (end / half + 1) as usize } else { 0 };
    let mut draws = random::uniform(cut.seed, "segments", pass, most, 0.0, 1.0).into_iter();
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
        self.segments = segments(self.columns.size()[0], &self.cut, index);
        self.next = skip;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Batch>> {
        let Some(segment) = self.segments.get(self.next) else { return Ok(None) };
        let length = segment.end - segment.start;
        let from = |begin: i64| self.columns.f_narrow(0, begin, length);
        let batch = Batch {
            begins: self.next == 0,
            // A shorter segment takes a smaller step.
            rate_scale: length as f64 / self.cut.bptt as f64,
            ..Batch::new(from(segment.start)?, from(segment.start + 1)?)
        };
        self.next += 1;
        Ok(Some(batch))
    }
}
