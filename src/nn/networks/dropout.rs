//! Variational dropout: one mask per sequence and position in the network, drawn once for all losses of a search step.
//!
//! The published code draws new masks for each loss, so that the difference of the losses at w + εv and w − εv is
//! dominated by the masks.

use tch::{Device, Kind, Tensor};

use crate::config::SearchConfig;
use crate::error::Result;
use crate::params::upload;
use crate::plan::{DropoutTarget, Language};
use crate::random;
use crate::ranks::Share;

/// The probability that an element is set to zero, by position in the network.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Dropout {
    /// A whole word.
    pub rows: f64,
    /// An element of the embedded input.
    pub embedded: f64,
    /// An element of the cell's input.
    pub input: f64,
    /// An element of a state, before its product.
    pub hidden: f64,
    /// An element of the output.
    pub output: f64,
}

impl Dropout {
    /// The probabilities of a configuration.
    pub fn of_config(config: &SearchConfig) -> Self {
        Dropout {
            rows: config.network.dropout_rows,
            embedded: config.network.dropout_embedded,
            input: config.network.dropout_input,
            hidden: config.network.dropout_hidden,
            output: config.network.dropout_output,
        }
    }

    fn at(&self, target: DropoutTarget) -> f64 {
        match target {
            DropoutTarget::Rows => self.rows,
            DropoutTarget::Embedded => self.embedded,
            DropoutTarget::Input => self.input,
            DropoutTarget::Hidden => self.hidden,
            DropoutTarget::Output => self.output,
        }
    }
}

/// The masks of a step: 0, or 1/(1 − p). Each step overwrites the same tensors, which a captured graph may refer to.
#[derive(Debug)]
pub struct Masks {
    /// By [`DropoutTarget`]; None if its probability is 0.
    masks: [Option<Tensor>; DropoutTarget::ALL.len()],
    dropout: Dropout,
    seed: u64,
    /// The number of sequences of all ranks, and the share of this one.
    sequences: (i64, Share),
}

impl Masks {
    /// Masks for a share of batches of `batch` sequences; all ones until they are drawn.
    pub fn new(
        language: &Language,
        (batch, share): (i64, Share),
        dropout: Dropout,
        seed: u64,
        (kind, device): (Kind, Device),
    ) -> Result<Self> {
        let (_, width) = share.range(batch);
        let mask = |target: DropoutTarget| {
            let units = language.units as i64;
            let size = if target == DropoutTarget::Rows { [language.words as i64, 1] } else { [width, units] };
            let ones = || Tensor::f_ones(size, (kind, device));
            (dropout.at(target) > 0.0).then(ones).transpose()
        };
        let [rows, embedded, input, hidden, output] = DropoutTarget::ALL.map(mask);
        Ok(Masks { masks: [rows?, embedded?, input?, hidden?, output?], dropout, seed, sequences: (batch, share) })
    }

    /// Draws the masks of a step, a function of seed and step. Every rank draws those of all sequences.
    pub fn draw(&mut self, step: u64) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let (sequences, share) = self.sequences;
        for target in DropoutTarget::ALL {
            let p = self.dropout.at(target);
            let Some(mask) = &mut self.masks[target as usize] else { continue };
            // All ranks have one mask of words.
            let (all, (first, count)) = match target {
                DropoutTarget::Rows => (mask.size()[0], (0, mask.size()[0])),
                _ => (sequences, share.range(sequences)),
            };
            let units = mask.size()[1];
            let numbers =
                random::uniform(self.seed, &format!("mask.{}", target.name()), step, (all * units) as usize, 0.0, 1.0);
            let numbers = &numbers[(first * units) as usize..((first + count) * units) as usize];
            let kept: Vec<f32> = numbers.iter().map(|number| if *number < p { 0.0 } else { 1.0 }).collect();
            let drawn = Tensor::f_from_slice(&kept)?.f_view(mask.size().as_slice())?;
            mask.f_copy_(&upload(&drawn, mask.device())?)?;
            let _ = mask.f_mul_scalar_(1.0 / (1.0 - p))?;
        }
        Ok(())
    }

    /// A mask; None if its probability is 0.
    pub fn at(&self, target: DropoutTarget) -> Option<&Tensor> {
        self.masks[target as usize].as_ref()
    }

    /// The number of sequences that the masks are for.
    pub fn batch(&self) -> Option<i64> {
        self.masks[1..].iter().flatten().next().map(|mask| mask.size()[0])
    }
}
