//! Mean pooling: libtorch's, or a depthwise convolution with equal weights.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use super::layout::both;
use crate::error::Result;
use crate::plan::{Op, Shape};

/// Poolings by window, padding and shape.
pub type Known = HashMap<([usize; 2], [usize; 2], Vec<usize>), MeanPooling>;

/// The constants of a mean pooling that is computed as a convolution: the sums of windows, divided by the size of a
/// window, times what corrects this where a window reaches into the padding.
pub struct MeanPooling {
    /// [channels, 1, height, width] of the window, each 1 / (height · width).
    kernel: Tensor,
    /// [1, channels, height, width] of the image: the size of a window over the number of its elements in the image.
    correction: Tensor,
    padding: [i64; 2],
}

impl MeanPooling {
    /// The constants of instruction `op` for images of `shape`, in float32 on the CPU. Equal instructions share them.
    pub fn new(op: &Op, shape: &Shape, known: &mut Known) -> Result<Option<Self>> {
        let Op::AvgPool { kernel, stride: [1, 1], padding, convolve: true, .. } = op else { return Ok(None) };
        let [channels, height, width] = shape.0[..] else { return Ok(None) };
        let key = (*kernel, *padding, shape.0.clone());
        if let Some(pooling) = known.get(&key) {
            return Ok(Some(pooling.share()));
        }
        let (window, padding) = (both(*kernel), both(*padding));
        let options = (Kind::Float, Device::Cpu);
        let weight = 1.0 / (window[0] * window[1]) as f64;
        let kernel = Tensor::f_full([channels as i64, 1, window[0], window[1]], weight, options)?;
        // In the layout of images on the CPU, channels last.
        let ones =
            Tensor::f_ones([1, height as i64, width as i64, channels as i64], options)?.f_permute([0, 3, 1, 2])?;
        let correction = ones.f_avg_pool2d(window, [1, 1], padding, false, true, None)?.f_reciprocal()?;
        let pooling = MeanPooling { kernel, correction, padding };
        known.insert(key, pooling.share());
        Ok(Some(pooling))
    }

    fn share(&self) -> Self {
        let (kernel, correction) = (self.kernel.shallow_clone(), self.correction.shallow_clone());
        MeanPooling { kernel, correction, padding: self.padding }
    }

    /// Whether `x` can be pooled by a convolution: libtorch has fast depthwise convolutions in float32 on the CPU.
    pub fn applies_to(&self, x: &Tensor) -> bool {
        x.device() == Device::Cpu && x.kind() == Kind::Float
    }

    /// The means of all windows of `x`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let channels = self.kernel.size()[0];
        let mut sums = x.f_conv2d::<Tensor>(&self.kernel, None, [1, 1], self.padding, [1, 1], channels)?;
        Ok(sums.f_mul_(&self.correction)?)
    }
}

/// The mean of each window, [height and width, strides, padding], without padding and without the first `outside`
/// columns, which are zeros.
pub fn avg_pool(x: &Tensor, [kernel, stride, padding]: [[i64; 2]; 3], outside: i64, ceil: bool) -> Result<Tensor> {
    let mean = x.f_avg_pool2d(kernel, stride, padding, ceil, false, None)?;
    if outside == 0 {
        return Ok(mean);
    }
    // Window i ends with column stride·i + kernel - 1, of which `outside` columns are padding.
    let last = mean.size()[3];
    let columns = Tensor::f_arange(last, (mean.f_kind()?, mean.device()))?.f_mul_scalar(stride[1])?;
    let inside = columns.f_add_scalar(kernel[1] - outside)?.f_clamp_max(kernel[1])?;
    Ok(mean.f_mul(&inside.f_reciprocal()?.f_mul_scalar(kernel[1])?)?)
}
