//! Augmentation of a whole batch with one gather, instead of a Python call per image.
//!
//! `cifar` pads by 4 black pixels, crops at random and flips half of the images horizontally. Cutout sets a square to
//! zero after normalisation.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::params::upload;
use crate::random;

const PADDING: i64 = 4;

/// The augmentation of every training batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Augmentation {
    /// Pad, crop and flip.
    pub crop_and_flip: bool,
    /// Side of the cutout square in pixels; 0: no cutout.
    pub cutout: usize,
}

/// The random numbers of the images of a batch, a function of (seed, purpose, index).
pub struct Draw {
    uniforms: Vec<f64>,
}

/// Uniform numbers per image: vertical and horizontal offset, flip, two coordinates of the cutout's centre.
const NUMBERS: usize = 5;

impl Draw {
    /// Those of some of the images of the batch.
    pub fn new((seed, purpose, index): (u64, &str, u64), images: usize, some: Range<usize>) -> Self {
        let all = random::uniform(seed, purpose, index, NUMBERS * images, 0.0, 1.0);
        Draw { uniforms: all[NUMBERS * some.start..NUMBERS * some.end].to_vec() }
    }

    fn image(&self, n: usize) -> &[f64] {
        &self.uniforms[NUMBERS * n..NUMBERS * (n + 1)]
    }

    fn images(&self) -> usize {
        self.uniforms.len() / NUMBERS
    }

    /// Crops and flips `x` [N, C, H, W].
    pub fn crop_and_flip(&self, x: &Tensor) -> Result<Tensor> {
        let size = x.size();
        let (height, width) = (size[2], size[3]);
        let padded = x.f_constant_pad_nd([PADDING; 4])?;
        let offsets = 2 * PADDING + 1;
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        for n in 0..self.images() {
            let u = self.image(n);
            let (top, left) = (below(u[0], offsets), below(u[1], offsets));
            rows.extend((0..height).map(|r| top + r));
            let flip = u[2] < 0.5;
            columns.extend((0..width).map(|c| left + if flip { width - 1 - c } else { c }));
        }
        let n = self.images() as i64;
        let device = x.device();
        let images = arange(n, device)?.f_view([n, 1, 1, 1])?;
        let channels = arange(size[1], device)?.f_view([1, size[1], 1, 1])?;
        let rows = upload(&Tensor::f_from_slice(&rows)?, device)?.f_view([n, 1, height, 1])?;
        let columns = upload(&Tensor::f_from_slice(&columns)?, device)?.f_view([n, 1, 1, width])?;
        Ok(padded.f_index(&[Some(images), Some(channels), Some(rows), Some(columns)])?)
    }

    /// Sets a square of `side` pixels, clipped at the border, to zero (DeVries and Taylor, 2017).
    pub fn cutout(&self, x: &Tensor, side: usize) -> Result<Tensor> {
        let size = x.size();
        let (height, width) = (size[2], size[3]);
        let half = side as i64 / 2;
        let mut keep_rows = Vec::new();
        let mut keep_columns = Vec::new();
        let outside = |centre: i64, i: i64| i64::from(i < centre - half || i >= centre - half + side as i64);
        for n in 0..self.images() {
            let u = self.image(n);
            let (y, x) = (below(u[3], height), below(u[4], width));
            keep_rows.extend((0..height).map(|r| outside(y, r)));
            keep_columns.extend((0..width).map(|c| outside(x, c)));
        }
        let n = self.images() as i64;
        let rows = upload(&Tensor::f_from_slice(&keep_rows)?, x.device())?.f_view([n, 1, height, 1])?;
        let columns = upload(&Tensor::f_from_slice(&keep_columns)?, x.device())?.f_view([n, 1, 1, width])?;
        let keep = rows.f_maximum(&columns)?.f_to_kind(x.f_kind()?)?;
        Ok(x.f_mul(&keep)?)
    }
}

fn below(uniform: f64, n: i64) -> i64 {
    ((uniform * n as f64) as i64).min(n - 1)
}

fn arange(n: i64, device: Device) -> Result<Tensor> {
    Ok(Tensor::f_arange(n, (Kind::Int64, device))?)
}
