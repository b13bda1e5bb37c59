"""Instruments: what happened to the gradient on its way back through time."""

from bptt.observe.check import Check as Check, check as check
from bptt.observe.comparison import Comparison as Comparison, Finding as Finding
from bptt.observe.every import Every as Every, every as every
from bptt.observe.explained import Explained as Explained, explain as explain
from bptt.observe.flow import Flow as Flow, Weight as Weight
from bptt.observe.measure import gradient_flow as gradient_flow
from bptt.observe.profile import Estimate as Estimate, Profile as Profile
from bptt.observe.report import Report as Report
from bptt.observe.spectrum import Spectrum as Spectrum, lyapunov as lyapunov, spectrum as spectrum
from bptt.observe.trouble import Trouble as Trouble
from bptt.observe.units import Gate as Gate, Units as Units, units as units
