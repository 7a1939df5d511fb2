"""Which EC2 instance type should we train our model on?

Stages (one file each, `python -m yocobench.<stage>`), in the order of dvc.yaml:
    dataset  the corpus, tokenised or rendered        -> data/text, data/images
    prices   live prices, or the dated snapshot        -> data/prices.json
    plan     every cell's work order and eligibility  -> data/plan
    launch   under `launch: ec2`, all boxes at once    -> receipts in S3, for train to collect
    train    one cell: launch, measure, track         -> results/receipts/**.json
    compare  query MLflow, price, decide, report      -> results/decision.{json,md}
Below them: config and schema (the only readers of raw config), tracking (the only importer of mlflow),
receipt (what a cell leaves), launchers/ (where a cell runs), bench/ (everything that can change a measured
number), estimate/ (numbers for what was not measured), selection/ (pure: numbers in, decision out).
"""
