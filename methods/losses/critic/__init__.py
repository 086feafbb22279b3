"""The weight-clipped critics of the loss `kr`: their training, its gradient in closed form, and gradient ascent in place.

`critic` trains, with the gradient of `critic_gradient` and the optimizers of `ascent`.
May import `bench.machine.threads`, `bench.lazy` and `bench.types`; knows no method and no setting.
"""
