//! The CPU kernel of depthwise kernel gradients against libtorch, over sizes, strides, paddings and dilations.
#![cfg(feature = "torch")]

use proptest::prelude::*;
use pydarts::nn::{Depthwise, Number};
use pydarts::random;
use tch::{Kind, Tensor};

fn draw(purpose: &str, shape: &[i64], kind: Kind) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&random::normal(5, purpose, 0, n)).view(shape).to_kind(kind)
}

/// The elements of [N, C, H, W] in channels-last order.
fn channels_last<T: Number>(image: &Tensor) -> Vec<T>
where
    Vec<T>: TryFrom<Tensor, Error: std::fmt::Debug>,
{
    Vec::<T>::try_from(image.permute([0, 2, 3, 1]).contiguous().flatten(0, -1)).unwrap()
}

fn check<T: Number>(convolution: &Depthwise, tolerance: f64)
where
    Vec<T>: TryFrom<Tensor, Error: std::fmt::Debug>,
{
    let as_i64 = |extents: [usize; 2]| extents.map(|extent| extent as i64);
    let ([h, w], [rows, columns]) = (as_i64(convolution.input), as_i64(convolution.kernel));
    let (batch, channels) = (convolution.batch as i64, convolution.channels as i64);
    let x = draw("x", &[batch, channels, h, w], T::KIND);
    let kernel = draw("kernel", &[channels, 1, rows, columns], T::KIND).set_requires_grad(true);
    let (stride, padding, dilation) =
        (as_i64(convolution.stride), as_i64(convolution.padding), convolution.dilation as i64);
    let y = x.conv2d(&kernel, None::<Tensor>, stride, padding, [dilation; 2], channels);
    assert_eq!(y.size()[2..], as_i64(convolution.output), "{convolution:?}");
    let g = draw("g", &y.size(), T::KIND);
    let expected = Tensor::run_backward(&[(&y * &g).sum(T::KIND)], &[&kernel], false, false).remove(0);
    let found = convolution.kernel_gradient(&channels_last::<T>(&x), &channels_last::<T>(&g));
    let found = Tensor::from_slice(&found).view_as(&expected);
    let scale = expected.abs().max().double_value(&[]).max(1.0);
    let error = (found - &expected).abs().max().double_value(&[]) / scale;
    assert!(error < tolerance, "{convolution:?}: off by {error:e}");
}

/// Convolutions with an output of at least one pixel.
fn convolutions() -> impl Strategy<Value = Depthwise> {
    let sizes = (1usize..4, 1usize..40, (1usize..10, 1usize..10));
    let kernels = (prop_oneof![Just(3usize), Just(5), Just(7), 1usize..8], 1usize..8);
    let steps = ((1usize..4, 1usize..4), (0usize..5, 0usize..5), 1usize..4);
    (sizes, kernels, steps).prop_filter_map("an image smaller than the kernel", |(sizes, kernel, steps)| {
        let ((batch, channels, (h, w)), (stride, padding, dilation)) = (sizes, steps);
        let out = |extent: usize, kernel: usize, stride: usize, padding: usize| {
            let free = (extent + 2 * padding).checked_sub(dilation * (kernel - 1) + 1)?;
            Some(free / stride + 1)
        };
        let output = [out(h, kernel.1, stride.0, padding.0)?, out(w, kernel.0, stride.1, padding.1)?];
        Some(Depthwise {
            batch,
            channels,
            input: [h, w],
            output,
            kernel: [kernel.1, kernel.0],
            stride: [stride.0, stride.1],
            padding: [padding.0, padding.1],
            dilation,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn kernel_gradients_equal_those_of_libtorch(convolution in convolutions()) {
        check::<f64>(&convolution, 1e-12);
        check::<f32>(&convolution, 1e-4);
    }
}

#[test]
fn taps_in_the_padding_have_no_gradient() {
    let convolution = Depthwise {
        batch: 2,
        channels: 3,
        input: [1, 1],
        output: [1, 1],
        kernel: [5, 5],
        stride: [1, 1],
        padding: [2, 2],
        dilation: 1,
    };
    let found = convolution.kernel_gradient(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    let centre = |channel: usize| channel * 25 + 12;
    let sums = [1.0 + 8.0, 2.0 + 10.0, 3.0 + 12.0];
    assert!((0..75).all(|at| (0..3).any(|c| centre(c) == at) || found[at] == 0.0));
    assert_eq!([0, 1, 2].map(|c| found[centre(c)]), sums);
}
