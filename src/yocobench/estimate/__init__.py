"""Numbers for what was not measured, with intervals: trace, roofline, calibration, memory, extrapolation.

`python -m yocobench.estimate workload=yoco-lm 'instance=glob(*)'` prints the table. From Python: `estimator.estimate`
for a workload of the catalogue, `outside.estimate_module` for any nn.Module and any accelerator. Importing this
package imports no torch.
"""
