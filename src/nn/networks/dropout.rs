//! Variational dropout: one mask a sequence and place, drawn once for all losses of a search step.
//!
//! The published code draws anew for each loss, so that the losses at w + εv and w − εv differ by their masks more than
//! by ε: their difference is noise.

use tch::{Device, Kind, Tensor};

use crate::config::SearchConfig;
use crate::error::Result;
use crate::params::upload;
use crate::plan::{Language, Place};
use crate::random;

/// Probabilities of zero, by place.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Dropout {
    /// Of a whole word.
    pub rows: f64,
    /// Of a number of the embedded input.
    pub embedded: f64,
    /// Of a number of the cell's input.
    pub input: f64,
    /// Of a number of a state, before its product.
    pub hidden: f64,
    /// Of a number of the output.
    pub output: f64,
}

impl Dropout {
    /// As a configuration says.
    pub fn of_config(config: &SearchConfig) -> Self {
        Dropout {
            rows: config.network.dropout_rows,
            embedded: config.network.dropout_embedded,
            input: config.network.dropout_input,
            hidden: config.network.dropout_hidden,
            output: config.network.dropout_output,
        }
    }

    fn at(&self, place: Place) -> f64 {
        match place {
            Place::Rows => self.rows,
            Place::Embedded => self.embedded,
            Place::Input => self.input,
            Place::Hidden => self.hidden,
            Place::Output => self.output,
        }
    }
}

/// The masks of a step: 0, or 1/(1 − p). They stay where they are and are written over.
#[derive(Debug)]
pub struct Masks {
    /// By place; none where nothing is dropped.
    masks: [Option<Tensor>; Place::ALL.len()],
    dropout: Dropout,
    seed: u64,
}

impl Masks {
    /// For batches of so many sequences; ones, before they are drawn.
    pub fn new(
        language: &Language,
        batch: i64,
        dropout: Dropout,
        seed: u64,
        (kind, device): (Kind, Device),
    ) -> Result<Self> {
        let mask = |place: Place| {
            let units = language.units as i64;
            let size = if place == Place::Rows { [language.words as i64, 1] } else { [batch, units] };
            let ones = || Tensor::f_ones(size, (kind, device));
            (dropout.at(place) > 0.0).then(ones).transpose()
        };
        let [rows, embedded, input, hidden, output] = Place::ALL.map(mask);
        Ok(Masks { masks: [rows?, embedded?, input?, hidden?, output?], dropout, seed })
    }

    /// Draws those of a step: a function of seed and step.
    pub fn draw(&mut self, step: u64) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for place in Place::ALL {
            let p = self.dropout.at(place);
            let Some(mask) = &mut self.masks[place as usize] else { continue };
            let numbers = random::uniform(self.seed, &format!("mask.{}", place.name()), step, mask.numel(), 0.0, 1.0);
            let kept: Vec<f32> = numbers.iter().map(|number| if *number < p { 0.0 } else { 1.0 }).collect();
            let drawn = Tensor::f_from_slice(&kept)?.f_view(mask.size().as_slice())?;
            mask.f_copy_(&upload(&drawn, mask.device())?)?;
            let _ = mask.f_mul_scalar_(1.0 / (1.0 - p))?;
        }
        Ok(())
    }

    /// The mask of a place, if anything is dropped there.
    pub fn at(&self, place: Place) -> Option<&Tensor> {
        self.masks[place as usize].as_ref()
    }

    /// Sequences that they are for.
    pub fn batch(&self) -> Option<i64> {
        self.masks[1..].iter().flatten().next().map(|mask| mask.size()[0])
    }
}
