"""Images and labels, and the batches drawn from them.

`loading.load(name)` returns a `Dataset`; `batches.Batches` draws the images of each update.
`catalog` lists the datasets, `locate` finds their files, `idx` reads and verifies them, `download`
fetches them, `embedded` has 5,000 digits and needs no download.
"""
