# nstc as devices install it, without torch: docs/deploy/containers.md
ARG BASE=docker.io/library/python:3.13-slim
FROM ${BASE} AS build
COPY . /source
RUN python -m venv --without-pip /opt/nstc \
    && python -m pip --python /opt/nstc/bin/python install --no-cache-dir /source \
    && find /opt/nstc -type d -name tests -prune -exec rm -r {} +

FROM ${BASE}
COPY --from=build /opt/nstc /opt/nstc
# Any user may run it, also one that the image does not know: nothing is written but to /tmp.
ENV PATH=/opt/nstc/bin:$PATH HOME=/tmp NSTC_CACHE=/tmp/nstc PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["nstc"]
CMD ["--help"]
