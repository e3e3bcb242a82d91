//! The goals as bars: how many times better than wanted, on a logarithmic scale.
//!
//! The plot has a background of its own, so that it can be read on light and on dark pages.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// One goal.
#[derive(Debug, Clone)]
pub struct Bar {
    /// Which.
    pub label: String,
    /// How many times better than wanted; below 1 it is missed.
    pub margin: f64,
    /// What was found.
    pub shown: String,
}

const WIDTH: u32 = 1000;
const LINE: u32 = 44;
const TOP: u32 = 64;
const INK: RGBColor = RGBColor(36, 41, 47);
const REACHED: RGBColor = RGBColor(26, 127, 55);
const MISSED: RGBColor = RGBColor(188, 76, 0);

/// The bars as SVG.
pub fn bars(bars: &[Bar]) -> Result<String> {
    let mut svg = String::new();
    let height = TOP + LINE * u32::try_from(bars.len())? + 16;
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        draw(&area, bars).map_err(|error| anyhow!("draw the plot: {error}"))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(area: &Area<'_>, bars: &[Bar]) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&RGBColor(255, 255, 255))?;
    let ink = |size: i32| ("sans-serif", size).into_font().color(&INK);
    area.draw(&Text::new(
        "How many times better than wanted (logarithmic; the line is what was wanted)",
        (16, 12),
        ink(18),
    ))?;
    // The scale reaches a decade below the line and as far above it as is needed.
    let most = bars.iter().map(|bar| bar.margin).fold(10.0_f64, f64::max);
    let (left, right) = (16.0, f64::from(WIDTH) - 16.0);
    let decades = most.log10() + 1.0;
    let place = |margin: f64| {
        let share = (margin.max(0.1).log10() + 1.0) / decades;
        (left + share * (right - left)) as i32
    };
    for (number, bar) in bars.iter().enumerate() {
        let top = i32::try_from(TOP + LINE * u32::try_from(number)?)?;
        let colour = if bar.margin >= 1.0 { REACHED } else { MISSED };
        let label = format!("{} · {}", bar.label, bar.shown);
        area.draw(&Text::new(label, (16, top), ink(14)))?;
        let shape = [
            (place(0.1), top + 20),
            (place(bar.margin).max(place(0.1) + 1), top + 34),
        ];
        area.draw(&Rectangle::new(shape, colour.filled()))?;
    }
    let line = place(1.0);
    let bottom = i32::try_from(TOP + LINE * u32::try_from(bars.len())?)?;
    area.draw(&PathElement::new(
        [(line, 40), (line, bottom)],
        INK.stroke_width(2),
    ))?;
    area.draw(&Text::new("1×", (line + 4, 40), ink(14)))?;
    area.present()?;
    Ok(())
}
