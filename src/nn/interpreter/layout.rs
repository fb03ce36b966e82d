//! The memory layout of images, and rearrangements of pixels and channels.

use tch::{Device, Tensor};

use crate::error::Result;
use crate::plan::{By, Fill};

/// A vertical and a horizontal number as libtorch takes them.
pub fn both(pair: [usize; 2]) -> [i64; 2] {
    pair.map(|number| number as i64)
}

/// Images in channels-last layout on the CPU; every operation preserves it. oneDNN's depthwise convolutions then need
/// no reordering, and pooling runs along the channels: a step of the default network takes two thirds of the time. On a
/// GPU the layout is unchanged.
pub fn channels_last(x: &Tensor) -> Result<Tensor> {
    if x.device() != Device::Cpu {
        return Ok(x.shallow_clone());
    }
    let size = x.size();
    let (channels, height, width) = (size[1], size[2], size[3]);
    let inner = x.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    // Permuting back would leave the strides of a single channel ambiguous, and libtorch takes those for NCHW.
    Ok(inner.f_as_strided(size, [height * width * channels, 1, width * channels, channels], None)?)
}

/// x[:, :, ::s, ::t], the pixels that a 1×1 convolution of stride (s, t) reads. The convolution does not select them
/// itself: oneDNN's strided 1×1 kernels write past their buffers for few channels in channels-last layout (seen with
/// libtorch 2.11, weight gradient, one thread).
pub fn subsampled(x: &Tensor, stride: [i64; 2]) -> Result<Tensor> {
    Ok(x.f_slice(2, None, None, stride[0])?.f_slice(3, None, None, stride[1])?)
}

/// Every `factors[0]`th row and `factors[1]`th column, as a contiguous channels-last image.
pub fn subsample(x: &Tensor, factors: [i64; 2]) -> Result<Tensor> {
    let x = subsampled(x, factors)?;
    channels_second(&x.f_permute([0, 2, 3, 1])?.f_contiguous()?)
}

/// [N, C, H, W] as [f·g·N, C, H/f, W/g]: phase (i, j), x[:, :, i::f, j::g], is block i·g + j of the batch.
pub fn space_to_batch(x: &Tensor, [f, g]: [i64; 2]) -> Result<Tensor> {
    let size = x.size();
    let (n, c, h, w) = (size[0], size[1], size[2] / f, size[3] / g);
    let split = x.f_permute([0, 2, 3, 1])?.f_reshape([n, h, f, w, g, c])?;
    let phases = split.f_permute([2, 4, 0, 1, 3, 5])?.f_reshape([f * g * n, h, w, c])?;
    channels_second(&phases)
}

/// The inverse of [`space_to_batch`].
pub fn batch_to_space(x: &Tensor, [f, g]: [i64; 2]) -> Result<Tensor> {
    let size = x.size();
    let (n, c, h, w) = (size[0] / (f * g), size[1], size[2], size[3]);
    let split = x.f_permute([0, 2, 3, 1])?.f_reshape([f, g, n, h, w, c])?;
    let image = split.f_permute([2, 3, 0, 4, 1, 5])?.f_reshape([n, h * f, w * g, c])?;
    channels_second(&image)
}

/// The image `times` times, concatenated along the channels.
pub fn repeat(x: &Tensor, times: i64) -> Result<Tensor> {
    let size = x.size();
    let (n, c, h, w) = (size[0], size[1], size[2], size[3]);
    let repeated = x.f_permute([0, 2, 3, 1])?.f_unsqueeze(3)?.f_expand([n, h, w, times, c], false)?;
    channels_second(&repeated.f_reshape([n, h, w, times * c])?)
}

/// Values of `dimensions` per example, concatenated along channels or features: of each input the first of `blocks`
/// equal blocks, then the second, and so on.
pub fn concat(inputs: &[&Tensor], dimensions: usize, blocks: i64) -> Result<Tensor> {
    match (blocks, dimensions) {
        // Features are the last dimension, however many tokens there are at once.
        (1, 1) => Ok(Tensor::f_cat(inputs, -1)?),
        (1, _) => Ok(Tensor::f_cat(inputs, 1)?),
        _ => interleave(inputs, blocks),
    }
}

fn interleave(images: &[&Tensor], blocks: i64) -> Result<Tensor> {
    let inner = |x: &&Tensor| -> Result<Tensor> {
        let x = x.f_permute([0, 2, 3, 1])?;
        let size = x.size();
        Ok(x.f_reshape([size[0], size[1], size[2], blocks, size[3] / blocks])?)
    };
    let joined = Tensor::f_cat(&images.iter().map(inner).collect::<Result<Vec<_>>>()?, 4)?;
    channels_second(&joined.f_flatten(3, 4)?)
}

/// The channels j in the order of (j mod `by`, ⌊j / by⌋).
pub fn shuffle(x: &Tensor, by: i64) -> Result<Tensor> {
    let channels = x.size()[1];
    let (rows, rest) = (channels / by, channels % by);
    if rest == 0 {
        return Ok(x.f_channel_shuffle(rows)?);
    }
    // The first `rest` remainders occur once more than the others.
    let x = x.f_permute([0, 2, 3, 1])?;
    let size = [x.size()[0], x.size()[1], x.size()[2]];
    let shaped = |x: &Tensor, last: [i64; 2]| x.f_reshape([size[0], size[1], size[2], last[0], last[1]]);
    let whole = shaped(&x.f_narrow(3, 0, rows * by)?, [rows, by])?;
    let last = x.f_narrow(3, rows * by, rest)?.f_unsqueeze(3)?;
    let more = Tensor::f_cat(&[whole.f_narrow(4, 0, rest)?, last], 3)?;
    let parts = [more, whole.f_narrow(4, rest, by - rest)?];
    let turned = parts.iter().map(|part| Ok(part.f_transpose(3, 4)?.f_flatten(3, 4)?));
    channels_second(&Tensor::f_cat(&turned.collect::<Result<Vec<_>>>()?, 3)?)
}

/// [N, H, W, C] as [N, C, H, W]; on the CPU a view.
pub fn channels_second(x: &Tensor) -> Result<Tensor> {
    let image = x.f_permute([0, 3, 1, 2])?;
    if x.device() == Device::Cpu { Ok(image) } else { Ok(image.f_contiguous()?) }
}

/// The image shifted along its axes: the second half of a factorized reduction then has the size of the first, ⌈H/2⌉ ×
/// ⌈W/2⌉.
pub fn shift(x: &Tensor, by: [By; 2]) -> Result<Tensor> {
    let mut shifted = x.shallow_clone();
    // Zeros before and after the columns, before and after the rows.
    let mut zeros = [0; 4];
    for (axis, by) in by.into_iter().enumerate() {
        let (dim, extent) = (axis as i64 + 2, shifted.size()[axis + 2]);
        match by {
            By::Nothing => {}
            By::Next => {
                shifted = shifted.f_narrow(dim, 1, extent - 1)?;
                zeros[3 - 2 * axis] = extent % 2;
            }
            By::Following => {
                shifted = shifted.f_narrow(dim, 1, extent - 1)?;
                zeros[3 - 2 * axis] = 1;
            }
            By::Previous => {
                shifted = shifted.f_narrow(dim, 0, extent - 1)?;
                zeros[2 - 2 * axis] = 1;
            }
        }
    }
    if zeros == [0; 4] { Ok(shifted) } else { Ok(shifted.f_constant_pad_nd(zeros)?) }
}

/// `left` columns before the first one.
pub fn pad(x: &Tensor, left: i64, fill: Fill) -> Result<Tensor> {
    match fill {
        Fill::Zero => Ok(x.f_constant_pad_nd([left, 0])?),
        Fill::Lowest => Ok(x.f_pad([left, 0], "constant", f64::NEG_INFINITY)?),
    }
}

/// `count` values that are stacked along the batch, each as one row.
pub fn rows(x: &Tensor, count: i64) -> Result<Tensor> {
    let x = if x.device() == Device::Cpu { x.f_permute([0, 2, 3, 1])? } else { x.shallow_clone() };
    Ok(x.f_reshape([count, -1])?)
}

/// The inverse of [`rows`]; each value has the size of one of the `count` values stacked in `like`.
pub fn unrows(rows: &Tensor, like: &Tensor, count: i64) -> Result<Tensor> {
    let (size, batch) = (like.size(), rows.size()[0] * like.size()[0] / count);
    let (channels, height, width) = (size[1], size[2], size[3]);
    match like.device() {
        Device::Cpu => channels_second(&rows.f_view([batch, height, width, channels])?),
        _ => Ok(rows.f_view([batch, channels, height, width])?),
    }
}
