# foleyflow on the CPU, for `generate` and `serve`. How to build and run it: docs/container.md
#
# tests/packaging runs the steps of the stage "build" in a clean environment, without Docker.
ARG PYTHON=3.11

FROM node:22-slim AS page
WORKDIR /src
COPY scripts/build_page.sh scripts/
COPY studio studio
RUN mkdir -p foleyflow/studio && sh scripts/build_page.sh

FROM python:${PYTHON}-slim AS build
# A folder, or the address of a page, with CPU builds of PyTorch
ARG TORCH_WHEELS
WORKDIR /src
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils
RUN python -m venv /opt/foleyflow
ENV PATH=/opt/foleyflow/bin:$PATH
# Nothing else offers torch in this step, so that no CUDA build can be chosen
RUN pip install --no-cache-dir --no-compile --no-deps --no-index --find-links "${TORCH_WHEELS:?}" torch==2.13.0
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-compile --no-deps --require-hashes -r requirements.lock
COPY LICENSE README.md pyproject.toml ./
COPY foleyflow foleyflow
COPY --from=page /src/foleyflow/studio/page foleyflow/studio/page
RUN pip install --no-cache-dir --no-compile --no-deps --no-build-isolation .
COPY scripts/trim_environment.sh scripts/
RUN sh scripts/trim_environment.sh /opt/foleyflow
# The first run writes the bytecode of the modules that are used; later the root is read-only
RUN foleyflow generate foleyflow/assets/examples/falling.mp4 -o /tmp/first.mp4 --report && python -P -c "import foleyflow.studio.serving" && foleyflow --help > /tmp/help.txt && foleyflow doctor > /tmp/doctor.txt

FROM python:${PYTHON}-slim
COPY --from=build /opt/foleyflow /opt/foleyflow
ENV PATH=/opt/foleyflow/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /clips
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD python -c "import http.client; page = http.client.HTTPConnection('127.0.0.1', 8000, timeout=5); page.request('GET', '/'); raise SystemExit(page.getresponse().status >= 500)"
ENTRYPOINT ["foleyflow"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--allow-remote", "--folder", "/clips/studio"]
