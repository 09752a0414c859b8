//! Lines over an axis, as SVG.

use std::fmt::Write as _;

use super::escaped;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 28.0;

/// How values become heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    FromZero,
    Logarithmic,
}

/// A line with its name; each line looks different also without colours.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Where, and how much.
    pub(super) points: Vec<(f64, f64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) scale: Scale,
    pub(super) lines: Vec<Line>,
}

impl Chart {
    /// As an element of a page.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (mut low, mut high) = match self.scale {
            Scale::FromZero => {
                let high = points().map(|(_, y)| *y).fold(0.0, f64::max);
                (0.0, if high > 0.0 { high } else { 1.0 })
            }
            Scale::Logarithmic => {
                let positive = || points().map(|(_, y)| *y).filter(|y| *y > 0.0);
                let low = positive().fold(f64::INFINITY, f64::min);
                let high = positive().fold(0.0, f64::max);
                if high > 0.0 { (low, high) } else { (0.1, 1.0) }
            }
        };
        let ticks = match self.scale {
            Scale::FromZero => even_ticks(high),
            Scale::Logarithmic => {
                low = 10_f64.powf(low.log10().floor());
                high = 10_f64.powf(high.log10().ceil()).max(low * 10.0);
                decades(low, high)
            }
        };
        if let (Scale::FromZero, Some(last)) = (self.scale, ticks.last()) {
            high = *last;
        }
        let (first, last) = points()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _)| {
                (low.min(*x), high.max(*x))
            });
        let first = if first.is_finite() {
            first.min(0.0)
        } else {
            0.0
        };
        let last = if last > first { last } else { first + 1.0 };
        let x = |at: f64| LEFT + (at - first) / (last - first) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| {
            let share = match self.scale {
                Scale::FromZero => value / high,
                Scale::Logarithmic => (value.max(low) / low).log10() / (high / low).log10(),
            };
            HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
        };
        let mut svg = format!(
            "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">",
            title = escaped(self.title)
        );
        for tick in ticks {
            let at = y(tick);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                short(tick),
                self.unit
            );
        }
        for tick in even_ticks(last).into_iter().filter(|tick| *tick <= last) {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(tick),
                HEIGHT - 8.0,
                short(tick)
            );
        }
        let mut legend = LEFT;
        for (number, line) in self.lines.iter().enumerate() {
            let points: Vec<String> = line
                .points
                .iter()
                .filter(|(_, value)| self.scale == Scale::FromZero || *value > 0.0)
                .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
                .collect();
            let _ = write!(
                svg,
                "<polyline class=\"line l{number}\" points=\"{}\"/><line class=\"line l{number}\" x1=\"{legend}\" x2=\"{:.1}\" y1=\"14\" y2=\"14\"/><text x=\"{:.1}\" y=\"18\">{}</text>",
                points.join(" "),
                legend + 26.0,
                legend + 32.0,
                escaped(line.name)
            );
            legend += 60.0 + 7.5 * line.name.len() as f64;
        }
        svg.push_str("</svg></figure>\n");
        svg
    }
}

/// From 0 to a round number above.
fn even_ticks(high: f64) -> Vec<f64> {
    let rough = high / 4.0;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|round| round * magnitude)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * magnitude);
    let count = (high / step).ceil().max(1.0) as u32;
    (0..=count).map(|number| f64::from(number) * step).collect()
}

fn decades(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().round() as i32, high.log10().round() as i32);
    (first..=last)
        .map(|exponent| 10_f64.powi(exponent))
        .collect()
}

fn short(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{}k", value / 1e3)
    } else {
        // Of a sum of steps no more than these digits are meant.
        format!("{}", (value * 1e6).round() / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(even_ticks(95.0), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(
            even_ticks(0.9).last().map(|tick| short(*tick)).as_deref(),
            Some("1")
        );
        assert_eq!(decades(0.1, 100.0).len(), 4);
        assert_eq!(
            (short(20_000.0), short(0.25)),
            ("20k".to_owned(), "0.25".to_owned())
        );
    }

    #[test]
    fn nothing_measured_is_still_a_chart() {
        for scale in [Scale::FromZero, Scale::Logarithmic] {
            let chart = Chart {
                title: "t",
                unit: "ms",
                scale,
                lines: vec![Line {
                    name: "a",
                    points: vec![(0.5, 0.0)],
                }],
            };
            let svg = chart.svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
