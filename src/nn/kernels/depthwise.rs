//! The gradient of a depthwise convolution by its kernel, on the CPU, of images with channels innermost.
//!
//! libtorch leaves it to oneDNN, which takes five to sixty times as long for it as for the convolution itself: in a
//! search of DARTS that was a third of a step on large images and two thirds on small ones. Here a sum is kept for
//! each tap of the kernel and each channel, and a row of the image passes by them once.

use std::ops::{Add, Mul};

use tch::Kind;

/// A depthwise convolution: the sizes of what goes in and comes out, and how its window moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depthwise {
    /// Images.
    pub batch: usize,
    /// Channels of an image; each has a kernel of its own.
    pub channels: usize,
    /// Height and width of an image.
    pub input: [usize; 2],
    /// Height and width of the result.
    pub output: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal step.
    pub stride: [usize; 2],
    /// Rows above and below, columns left and right, of zeros.
    pub padding: [usize; 2],
    /// Distance between the kernel's points, both ways.
    pub dilation: usize,
}

/// What can be summed.
pub trait Number: Copy + Send + Sync + Add<Output = Self> + Mul<Output = Self> + tch::kind::Element + 'static {
    /// Nothing.
    const NONE: Self;
    /// Its name in libtorch.
    const AS: Kind;
    /// self · other + sum, rounded once.
    fn fused(self, other: Self, sum: Self) -> Self;
}

macro_rules! number {
    ($type:ty, $kind:expr) => {
        impl Number for $type {
            const NONE: Self = 0.0;
            const AS: Kind = $kind;

            #[inline(always)]
            fn fused(self, other: Self, sum: Self) -> Self {
                self.mul_add(other, sum)
            }
        }
    };
}

number!(f32, Kind::Float);
number!(f64, Kind::Double);

impl Depthwise {
    /// Multiply-adds, about.
    pub fn work(&self) -> usize {
        self.batch * self.channels * self.output[0] * self.output[1] * self.kernel[0] * self.kernel[1]
    }

    /// ∂L/∂kernel [channels, kernel height, kernel width] from the images `x` [batch, height, width, channels] and
    /// the gradient `g` of the result, laid out alike.
    pub fn kernel_gradient<T: Number>(&self, x: &[T], g: &[T]) -> Vec<T> {
        let sums = self.sums(x, g);
        let taps = self.kernel[0] * self.kernel[1];
        (0..self.channels * taps).map(|at| sums[at % taps * self.channels + at / taps]).collect()
    }

    fn sums<T: Number>(&self, x: &[T], g: &[T]) -> Vec<T> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.wide_sums(x, g) };
        }
        self.any_sums::<T, false>(x, g)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn wide_sums<T: Number>(&self, x: &[T], g: &[T]) -> Vec<T> {
        self.any_sums::<T, true>(x, g)
    }

    /// One sum a tap and channel, [kernel height, kernel width, channels].
    #[inline(always)]
    fn any_sums<T: Number, const FUSED: bool>(&self, x: &[T], g: &[T]) -> Vec<T> {
        let ([height, width], [tall, wide]) = (self.input, self.output);
        let mut sums = vec![T::NONE; self.kernel[0] * self.kernel[1] * self.channels];
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

    /// The row (axis 0) or column (axis 1) of the image under a tap of the kernel; none in the padding.
    #[inline(always)]
    fn pixel(&self, axis: usize, place: usize, tap: usize) -> Option<usize> {
        let padded = place * self.stride[axis] + tap * self.dilation;
        padded.checked_sub(self.padding[axis]).filter(|pixel| *pixel < self.input[axis])
    }

    /// Adds what one row of the image and one of the gradient have in common, in blocks of channels.
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

    /// The same for `B` channels; the kernels' usual widths keep all their sums in registers.
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

    /// `K` taps of a row of the kernel, from `first` on.
    #[inline(always)]
    fn taps<T: Number, const FUSED: bool, const B: usize, const K: usize>(
        &self,
        x: &[T],
        g: &[T],
        sums: &mut [T],
        channel: usize,
        first: usize,
    ) {
        let at = |place: usize| place * self.channels + channel;
        let mut kept = [[T::NONE; B]; K];
        for (tap, kept) in kept.iter_mut().enumerate() {
            kept.copy_from_slice(&sums[at(first + tap)..][..B]);
        }
        for place in 0..self.output[1] {
            let Some(g) = g[at(place)..].first_chunk::<B>() else { continue };
            // Away from the padding, the last tap stands where the first one does, so much further on.
            let inside = self.pixel(1, place, first).filter(|_| self.pixel(1, place, first + K - 1).is_some());
            for (tap, kept) in kept.iter_mut().enumerate() {
                let pixel = match inside {
                    Some(pixel) => pixel + tap * self.dilation,
                    None => match self.pixel(1, place, first + tap) {
                        Some(pixel) => pixel,
                        None => continue,
                    },
                };
                let Some(x) = x[at(pixel)..].first_chunk::<B>() else { continue };
                for ((sum, x), g) in kept.iter_mut().zip(x).zip(g) {
                    *sum = if FUSED { x.fused(*g, *sum) } else { *x * *g + *sum };
                }
            }
        }
        for (tap, kept) in kept.iter().enumerate() {
            sums[at(first + tap)..][..B].copy_from_slice(kept);
        }
    }
}
