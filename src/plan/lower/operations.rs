//! The operations of convolutional cells, one instruction per layer. Sequences are images of height 1: only the window
//! of an operation and the padding depend on what the network reads.

use super::writer::Writer;
use crate::error::{Error, Result};
use crate::plan::{By, Fill, Init, Op, Scope, ValueId};
use crate::space::Domain;

/// The window of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: usize,
    pub groups: usize,
}

impl Writer<'_> {
    /// A window without dilation, over all channels: square, or of height 1 on sequences.
    pub fn window(&self, kernel: usize, stride: usize, padding: usize) -> Window {
        let [kernel, stride, padding] = match self.domain {
            Domain::Images => [[kernel; 2], [stride; 2], [padding; 2]],
            Domain::Sequences { .. } => [[1, kernel], [1, stride], [0, padding]],
        };
        Window { kernel, stride, padding, dilation: 1, groups: 1 }
    }

    /// Puts the padding of both sides before a causal sequence. Returns the padded value, and the padding that is left
    /// for the window.
    fn padded(
        &mut self,
        scope: &Scope,
        input: ValueId,
        padding: [usize; 2],
        fill: Fill,
    ) -> Result<(ValueId, [usize; 2])> {
        if !self.domain.is_causal() || padding == [0; 2] {
            return Ok((input, padding));
        }
        let padded = self.push(scope, Op::Pad { left: 2 * padding[1], fill }, vec![input])?;
        Ok((padded, [0; 2]))
    }

    /// Max pooling, then norm if the space has one there.
    pub fn max_pool(&mut self, scope: &Scope, input: ValueId, kernel: usize, stride: usize) -> Result<ValueId> {
        let Window { kernel, stride, padding, .. } = self.window(kernel, stride, kernel / 2);
        let (input, padding) = self.padded(scope, input, padding, Fill::Lowest)?;
        let value = self.push(scope, Op::MaxPool { kernel, stride, padding, ceil: false }, vec![input])?;
        self.pooling_norm(scope, value)
    }

    fn pooling_norm(&mut self, scope: &Scope, pooled: ValueId) -> Result<ValueId> {
        if self.space.layers().pooling_norm { self.norm(scope, "bn", pooled) } else { Ok(pooled) }
    }

    /// Average pooling over what is inside the image, then norm if the space has one there.
    pub fn avg_pool(&mut self, scope: &Scope, input: ValueId, kernel: usize, stride: usize) -> Result<ValueId> {
        let Window { kernel, stride, padding: both, .. } = self.window(kernel, stride, kernel / 2);
        let (input, padding) = self.padded(scope, input, both, Fill::Zero)?;
        let outside = if padding == both { 0 } else { 2 * both[1] };
        let convolve = stride == [1, 1] && outside == 0 && !self.space.layers().pooling_norm;
        let pool = Op::AvgPool { kernel, stride, padding, outside, ceil: false, convolve };
        let value = self.push(scope, pool, vec![input])?;
        self.pooling_norm(scope, value)
    }

    /// Halves the size with two 1x1 convolutions, one on the even pixels and one on the odd. One channel of a cell with
    /// more comes from the odd pixels alone. With stride 1 it keeps the size, and the second convolution reads the image
    /// moved by one pixel.
    pub fn factorized_reduction(
        &mut self,
        scope: &Scope,
        channels: usize,
        stride: usize,
        input: ValueId,
    ) -> Result<ValueId> {
        let half = channels / 2;
        if half == 0 && self.plan.edges.partial_channels == 1 {
            return Err(Error::space(format!(
                "the factorized reduction `{scope}` needs at least 2 channels and its cell has 1; use more `channels`"
            )));
        }
        let window = self.window(1, stride, 0);
        let next = if stride == 1 { By::Following } else { By::Next };
        let by = match self.domain {
            Domain::Images => [next; 2],
            Domain::Sequences { causal: false } => [By::Nothing, next],
            Domain::Sequences { causal: true } => [By::Nothing, By::Previous],
        };
        let rectified = self.push(scope, Op::Relu, vec![input])?;
        let even = match half {
            0 => None,
            half => Some(self.biased(scope, "conv_1", rectified, half, window)?),
        };
        let shifted = self.push(scope, Op::Shift { by }, vec![rectified])?;
        let odd = self.biased(scope, "conv_2", shifted, channels - half, window)?;
        let value = match even {
            Some(even) => self.push(scope, Op::Concat { blocks: 1 }, vec![even, odd])?,
            None => odd,
        };
        self.norm(scope, "bn", value)
    }

    /// Twice: ReLU, depthwise, pointwise, norm. Only the first depthwise convolution has the stride, and only the second
    /// pointwise one changes the channels to `out`.
    pub fn separable(
        &mut self,
        scope: &Scope,
        input: ValueId,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<ValueId> {
        let channels = self.channels(input);
        let mut value = input;
        for (turn, stride, out) in [(1, stride, channels), (2, 1, out)] {
            let depthwise = Window { groups: channels, ..self.window(kernel, stride, kernel / 2) };
            value = self.push(scope, Op::Relu, vec![value])?;
            value = self.biased(scope, &format!("dw{turn}"), value, channels, depthwise)?;
            value = self.biased(scope, &format!("pw{turn}"), value, out, self.window(1, 1, 0))?;
            value = self.norm(scope, &format!("bn{turn}"), value)?;
        }
        Ok(value)
    }

    /// ReLU, depthwise with dilation 2, pointwise to `out` channels, norm.
    pub fn dilated(
        &mut self,
        scope: &Scope,
        input: ValueId,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<ValueId> {
        let channels = self.channels(input);
        let depthwise = Window { dilation: 2, groups: channels, ..self.window(kernel, stride, kernel - 1) };
        let value = self.push(scope, Op::Relu, vec![input])?;
        let value = self.biased(scope, "dw", value, channels, depthwise)?;
        let value = self.biased(scope, "pw", value, out, self.window(1, 1, 0))?;
        self.norm(scope, "bn", value)
    }

    /// ReLU, convolutions, norm; the first convolution changes the number of channels to `out`.
    pub fn plain(
        &mut self,
        scope: &Scope,
        input: ValueId,
        out: usize,
        convolutions: &[(&str, Window)],
    ) -> Result<ValueId> {
        let mut value = self.push(scope, Op::Relu, vec![input])?;
        for (name, window) in convolutions {
            value = self.biased(scope, name, value, out, *window)?;
        }
        self.norm(scope, "bn", value)
    }

    /// A convolution of an operation, with a bias if the space has one there.
    fn biased(&mut self, scope: &Scope, name: &str, input: ValueId, out: usize, window: Window) -> Result<ValueId> {
        let value = self.conv(scope, name, input, out, window)?;
        if !self.space.layers().bias {
            return Ok(value);
        }
        let inputs = self.channels(input) / window.groups * window.kernel[0] * window.kernel[1];
        let weight = self.weight(format!("{scope}.{name}.bias"), vec![out], Init::FanIn(inputs));
        self.push(scope, Op::Bias { weight }, vec![value])
    }

    /// A convolution without bias, with its weight.
    pub fn conv(&mut self, scope: &Scope, name: &str, input: ValueId, out: usize, window: Window) -> Result<ValueId> {
        let Window { kernel, stride, padding, dilation, groups } = window;
        let depth = self.channels(input) / groups;
        let shape = match self.domain {
            Domain::Images => vec![out, depth, kernel[0], kernel[1]],
            Domain::Sequences { .. } => vec![out, depth, kernel[1]],
        };
        let init = Init::FanIn(depth * kernel[0] * kernel[1]);
        let weight = self.weight(format!("{scope}.{name}.weight"), shape, init);
        let (input, padding) = self.padded(scope, input, padding, Fill::Zero)?;
        self.push(scope, Op::Conv { weight, members: 1, stride, padding, dilation, groups }, vec![input])
    }
}
