//! The operations of convolutional cells, one instruction per layer.

use super::writer::Writer;
use crate::error::{Error, Result};
use crate::plan::{Init, Op, Scope, ValueId};

/// The window of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: usize,
    pub groups: usize,
}

impl Window {
    /// A square window without dilation, over all channels.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Window {
        Window { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: 1, groups: 1 }
    }
}

impl Writer<'_> {
    /// Halves the size with two 1x1 convolutions, one on the even pixels and one on the odd.
    pub fn factorized_reduction(&mut self, scope: &Scope, channels: usize, input: ValueId) -> Result<ValueId> {
        let half = channels / 2;
        if half == 0 {
            return Err(Error::space(format!(
                "the factorized reduction `{scope}` needs at least 2 channels and its cell has 1; use more `channels`"
            )));
        }
        let window = Window::square(1, 2, 0);
        let rectified = self.push(scope, Op::Relu, vec![input])?;
        let even = self.conv(scope, "conv_1", rectified, half, window)?;
        let shifted = self.push(scope, Op::Shift, vec![rectified])?;
        let odd = self.conv(scope, "conv_2", shifted, channels - half, window)?;
        let value = self.push(scope, Op::Concat { blocks: 1 }, vec![even, odd])?;
        self.norm(scope, "bn", value)
    }

    /// Twice: ReLU, depthwise, pointwise, norm. Only the first depthwise convolution has the stride.
    pub fn separable(&mut self, scope: &Scope, input: ValueId, kernel: usize, stride: usize) -> Result<ValueId> {
        let channels = self.channels(input);
        let mut value = input;
        for (turn, stride) in [(1, stride), (2, 1)] {
            let depthwise = Window { groups: channels, ..Window::square(kernel, stride, kernel / 2) };
            value = self.push(scope, Op::Relu, vec![value])?;
            value = self.conv(scope, &format!("dw{turn}"), value, channels, depthwise)?;
            value = self.conv(scope, &format!("pw{turn}"), value, channels, Window::square(1, 1, 0))?;
            value = self.norm(scope, &format!("bn{turn}"), value)?;
        }
        Ok(value)
    }

    /// ReLU, depthwise with dilation 2, pointwise, norm.
    pub fn dilated(&mut self, scope: &Scope, input: ValueId, kernel: usize, stride: usize) -> Result<ValueId> {
        let channels = self.channels(input);
        let depthwise = Window { dilation: 2, groups: channels, ..Window::square(kernel, stride, kernel - 1) };
        let value = self.push(scope, Op::Relu, vec![input])?;
        let value = self.conv(scope, "dw", value, channels, depthwise)?;
        let value = self.conv(scope, "pw", value, channels, Window::square(1, 1, 0))?;
        self.norm(scope, "bn", value)
    }

    /// ReLU, convolutions that keep the number of channels, norm.
    pub fn plain(&mut self, scope: &Scope, input: ValueId, convolutions: &[(&str, Window)]) -> Result<ValueId> {
        let channels = self.channels(input);
        let mut value = self.push(scope, Op::Relu, vec![input])?;
        for (name, window) in convolutions {
            value = self.conv(scope, name, value, channels, *window)?;
        }
        self.norm(scope, "bn", value)
    }

    /// A convolution without bias, with its weight.
    pub fn conv(&mut self, scope: &Scope, name: &str, input: ValueId, out: usize, window: Window) -> Result<ValueId> {
        let Window { kernel, stride, padding, dilation, groups } = window;
        let depth = self.channels(input) / groups;
        let shape = vec![out, depth, kernel[0], kernel[1]];
        let init = Init::FanIn(depth * kernel[0] * kernel[1]);
        let weight = self.weight(format!("{scope}.{name}.weight"), shape, init);
        self.push(scope, Op::Conv { weight, members: 1, stride, padding, dilation, groups }, vec![input])
    }
}
