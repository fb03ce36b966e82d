//! The gradient of a depthwise convolution with respect to its kernel, for channels-last images on the CPU.
//!
//! oneDNN takes five to sixty times as long for this gradient as for the convolution itself: in a DARTS search, one
//! third of a step on large images and two thirds on small ones. This kernel keeps one sum per tap and channel and
//! passes each image row over them once.

use tch::{Kind, Tensor};

use super::parallel::{Number, elements, fused, parallel_map};
use crate::error::Result;

/// The sizes of a depthwise convolution, and how its window moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depthwise {
    /// Number of images.
    pub batch: usize,
    /// Number of channels; each has its own kernel.
    pub channels: usize,
    /// Height and width of an image.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zero rows above and below, zero columns left and right.
    pub padding: [usize; 2],
    /// Distance between neighbouring taps, vertically and horizontally.
    pub dilation: usize,
}

/// A convolution, its input, and the gradient of its output, both channels-last. The kernel's gradient is what is
/// computed from them.
pub struct KernelGradient {
    convolution: Depthwise,
    x: Tensor,
    g: Tensor,
}

impl KernelGradient {
    /// `x`: [N, C, H, W]; `g`: the gradient of the output, of the output's shape.
    pub fn new(convolution: Depthwise, x: &Tensor, g: &Tensor) -> Result<Self> {
        let channels_last = |image: &Tensor| image.f_permute([0, 2, 3, 1])?.f_contiguous();
        Ok(KernelGradient { convolution, x: channels_last(x)?, g: channels_last(g)? })
    }

    /// The gradients with respect to all kernels, each [C, 1, kernel height, kernel width]. Each is one task of
    /// [`parallel_map`]. All have one dtype.
    pub fn compute(all: &[KernelGradient]) -> Result<Vec<Tensor>> {
        match all.first().map(|one| one.x.kind()) {
            None => Ok(Vec::new()),
            Some(Kind::Double) => Self::compute_in::<f64>(all),
            Some(_) => Self::compute_in::<f32>(all),
        }
    }

    fn compute_in<T: Number>(all: &[KernelGradient]) -> Result<Vec<Tensor>> {
        let views = all.iter().map(|one| Ok((one.convolution, elements::<T>(&one.x)?, elements::<T>(&one.g)?)));
        let views = views.collect::<Result<Vec<_>>>()?;
        let gradients = parallel_map(
            all.len(),
            |index| all[index].convolution.multiply_adds(),
            |index| {
                let (convolution, x, g) = views[index];
                convolution.kernel_gradient(x, g)
            },
        )?;
        let shaped = |(sums, one): (Vec<T>, &KernelGradient)| {
            let Depthwise { channels, kernel: [rows, columns], .. } = one.convolution;
            Ok(Tensor::f_from_slice(&sums)?.f_view([channels as i64, 1, rows as i64, columns as i64])?)
        };
        gradients.into_iter().zip(all).map(shaped).collect()
    }
}

impl Depthwise {
    /// Approximate number of multiply-adds of the gradient.
    pub fn multiply_adds(&self) -> usize {
        self.batch * self.channels * self.output[0] * self.output[1] * self.kernel[0] * self.kernel[1]
    }

    /// ∂L/∂kernel [channels, kernel height, kernel width] from the images `x` [batch, height, width, channels] and
    /// the gradient `g` of the output in the same layout.
    pub fn kernel_gradient<T: Number>(&self, x: &[T], g: &[T]) -> Vec<T> {
        let sums = self.sums(x, g);
        let taps = self.kernel[0] * self.kernel[1];
        (0..self.channels * taps).map(|at| sums[at % taps * self.channels + at / taps]).collect()
    }

    fn sums<T: Number>(&self, x: &[T], g: &[T]) -> Vec<T> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the instructions that the function is compiled for.
            return unsafe { self.sums_avx2(x, g) };
        }
        self.sums_generic::<T, false>(x, g)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn sums_avx2<T: Number>(&self, x: &[T], g: &[T]) -> Vec<T> {
        self.sums_generic::<T, true>(x, g)
    }

    /// One sum per tap and channel, [kernel height, kernel width, channels].
    #[inline(always)]
    fn sums_generic<T: Number, const FUSED: bool>(&self, x: &[T], g: &[T]) -> Vec<T> {
        let ([height, width], [tall, wide]) = (self.input, self.output);
        let mut sums = vec![T::ZERO; self.kernel[0] * self.kernel[1] * self.channels];
        let row = self.kernel[1] * self.channels;
        for image in 0..self.batch {
            for down in 0..tall {
                let at = (image * tall + down) * wide * self.channels;
                let g = &g[at..at + wide * self.channels];
                for (tap, sums) in sums.chunks_exact_mut(row).enumerate() {
                    let Some(line) = self.pixel(0, down, tap) else { continue };
                    let at = (image * height + line) * width * self.channels;
                    self.row::<T, FUSED>(&x[at..at + width * self.channels], g, sums);
                }
            }
        }
        sums
    }

    /// The image row (axis 0) or column (axis 1) under a tap of the kernel at an output position; None in the padding.
    #[inline(always)]
    fn pixel(&self, axis: usize, position: usize, tap: usize) -> Option<usize> {
        let padded = position * self.stride[axis] + tap * self.dilation;
        padded.checked_sub(self.padding[axis]).filter(|pixel| *pixel < self.input[axis])
    }

    /// Adds the products of one image row and one gradient row, in blocks of channels.
    #[inline(always)]
    fn row<T: Number, const FUSED: bool>(&self, x: &[T], g: &[T], sums: &mut [T]) {
        let mut channel = 0;
        while channel < self.channels {
            channel += match self.channels - channel {
                16.. => self.block::<T, FUSED, 16>(x, g, sums, channel),
                8.. => self.block::<T, FUSED, 8>(x, g, sums, channel),
                4.. => self.block::<T, FUSED, 4>(x, g, sums, channel),
                _ => self.block::<T, FUSED, 1>(x, g, sums, channel),
            };
        }
    }

    /// The same for `B` channels. Kernels of the usual widths keep all sums of a row in registers.
    #[inline(always)]
    fn block<T: Number, const FUSED: bool, const B: usize>(
        &self,
        x: &[T],
        g: &[T],
        sums: &mut [T],
        channel: usize,
    ) -> usize {
        match self.kernel[1] {
            3 => self.taps::<T, FUSED, B, 3>(x, g, sums, channel, 0),
            5 => self.taps::<T, FUSED, B, 5>(x, g, sums, channel, 0),
            7 => self.taps::<T, FUSED, B, 7>(x, g, sums, channel, 0),
            wide => (0..wide).for_each(|tap| self.taps::<T, FUSED, B, 1>(x, g, sums, channel, tap)),
        }
        B
    }

    /// The same for the `K` taps of a kernel row that begin with `first`.
    #[inline(always)]
    fn taps<T: Number, const FUSED: bool, const B: usize, const K: usize>(
        &self,
        x: &[T],
        g: &[T],
        sums: &mut [T],
        channel: usize,
        first: usize,
    ) {
        let at = |position: usize| position * self.channels + channel;
        let mut kept = [[T::ZERO; B]; K];
        for (tap, kept) in kept.iter_mut().enumerate() {
            kept.copy_from_slice(&sums[at(first + tap)..][..B]);
        }
        for position in 0..self.output[1] {
            let Some(g) = g[at(position)..].first_chunk::<B>() else { continue };
            // If the first and the last tap are inside the image, all taps between them are.
            let inside = self.pixel(1, position, first).filter(|_| self.pixel(1, position, first + K - 1).is_some());
            for (tap, kept) in kept.iter_mut().enumerate() {
                let pixel = match inside {
                    Some(pixel) => pixel + tap * self.dilation,
                    None => match self.pixel(1, position, first + tap) {
                        Some(pixel) => pixel,
                        None => continue,
                    },
                };
                let Some(x) = x[at(pixel)..].first_chunk::<B>() else { continue };
                for ((sum, x), g) in kept.iter_mut().zip(x).zip(g) {
                    *sum = fused::<T, FUSED>(*x, *g, *sum);
                }
            }
        }
        for (tap, kept) in kept.iter().enumerate() {
            sums[at(first + tap)..][..B].copy_from_slice(kept);
        }
    }
}
