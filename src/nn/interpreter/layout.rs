//! Images in memory: where channels lie, and rearrangements of pixels and channels.

use tch::{Device, Tensor};

use crate::error::Result;

/// Images with channels innermost on the CPU; every operation hands the layout on. oneDNN's depthwise convolutions
/// need no reordering then, and pooling runs along the channels: a step of the default network takes two thirds of
/// the time. On a GPU the layout stays as it is.
pub fn laid_out(x: &Tensor) -> Result<Tensor> {
    if x.device() != Device::Cpu {
        return Ok(x.shallow_clone());
    }
    let size = x.size();
    let (channels, height, width) = (size[1], size[2], size[3]);
    let inner = x.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    // Permuting back would leave the strides of a single channel ambiguous, and libtorch takes those for NCHW.
    Ok(inner.f_as_strided(size, [height * width * channels, 1, width * channels, channels], None)?)
}

/// x[:, :, ::s, ::t], all that a 1×1 convolution of stride (s, t) reads. It is not left to the convolution itself:
/// oneDNN's strided 1×1 kernels write past their buffers for few channels in the channels-last layout (seen with
/// libtorch 2.11, weight gradient, one thread).
pub fn subsampled(x: &Tensor, stride: [i64; 2]) -> Result<Tensor> {
    Ok(x.f_slice(2, None, None, stride[0])?.f_slice(3, None, None, stride[1])?)
}

/// [N, C, H, W] as [f²·N, C, H/f, W/f]: phase (i, j), x[:, :, i::f, j::f], is the block i·f + j of the batch.
pub fn space_to_batch(x: &Tensor, factor: i64) -> Result<Tensor> {
    let size = x.size();
    let (n, c, h, w) = (size[0], size[1], size[2] / factor, size[3] / factor);
    let apart = x.f_permute([0, 2, 3, 1])?.f_reshape([n, h, factor, w, factor, c])?;
    let phases = apart.f_permute([2, 4, 0, 1, 3, 5])?.f_reshape([factor * factor * n, h, w, c])?;
    channels_second(&phases)
}

/// The inverse of [`space_to_batch`].
pub fn batch_to_space(x: &Tensor, factor: i64) -> Result<Tensor> {
    let size = x.size();
    let (n, c, h, w) = (size[0] / (factor * factor), size[1], size[2], size[3]);
    let apart = x.f_permute([0, 2, 3, 1])?.f_reshape([factor, factor, n, h, w, c])?;
    let image = apart.f_permute([2, 3, 0, 4, 1, 5])?.f_reshape([n, h * factor, w * factor, c])?;
    channels_second(&image)
}

/// All channels `times` times, one after the other.
pub fn repeat(x: &Tensor, times: i64) -> Result<Tensor> {
    let size = x.size();
    let (n, c, h, w) = (size[0], size[1], size[2], size[3]);
    let repeated = x.f_permute([0, 2, 3, 1])?.f_unsqueeze(3)?.f_expand([n, h, w, times, c], false)?;
    channels_second(&repeated.f_reshape([n, h, w, times * c])?)
}

/// The first of `blocks` equal blocks of channels of each image, then the second of each, and so on.
pub fn interleave(images: &[&Tensor], blocks: i64) -> Result<Tensor> {
    let inner = |x: &&Tensor| -> Result<Tensor> {
        let x = x.f_permute([0, 2, 3, 1])?;
        let size = x.size();
        Ok(x.f_reshape([size[0], size[1], size[2], blocks, size[3] / blocks])?)
    };
    let together = Tensor::f_cat(&images.iter().map(inner).collect::<Result<Vec<_>>>()?, 4)?;
    channels_second(&together.f_flatten(3, 4)?)
}

/// [N, H, W, C] seen as [N, C, H, W]; the memory stays as it is on the CPU.
pub fn channels_second(x: &Tensor) -> Result<Tensor> {
    let image = x.f_permute([0, 3, 1, 2])?;
    if x.device() == Device::Cpu { Ok(image) } else { Ok(image.f_contiguous()?) }
}

/// x[:, :, 1:, 1:], with one zero row/column at the bottom/right of each odd dimension: the second half of a
/// factorized reduction then has the size of the first, ⌈H/2⌉ × ⌈W/2⌉.
pub fn shift(x: &Tensor) -> Result<Tensor> {
    let size = x.size();
    let (h, w) = (size[2], size[3]);
    let shifted = x.f_narrow(2, 1, h - 1)?.f_narrow(3, 1, w - 1)?;
    if h % 2 == 0 && w % 2 == 0 {
        return Ok(shifted);
    }
    Ok(shifted.f_constant_pad_nd([0, w % 2, 0, h % 2])?)
}

/// `count` values that lie one after the other along the batch, each as a row.
pub fn rows(x: &Tensor, count: i64) -> Result<Tensor> {
    let x = if x.device() == Device::Cpu { x.f_permute([0, 2, 3, 1])? } else { x.shallow_clone() };
    Ok(x.f_reshape([count, -1])?)
}

/// Rows as values again, each of the size of one of the `count` that lie in `like`.
pub fn unrows(rows: &Tensor, like: &Tensor, count: i64) -> Result<Tensor> {
    let (size, batch) = (like.size(), rows.size()[0] * like.size()[0] / count);
    let (channels, height, width) = (size[1], size[2], size[3]);
    match like.device() {
        Device::Cpu => channels_second(&rows.f_view([batch, height, width, channels])?),
        _ => Ok(rows.f_view([batch, channels, height, width])?),
    }
}
